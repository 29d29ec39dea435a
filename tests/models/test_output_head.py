"""Output heads: softmax, sigmoids and one output; their probabilities, predictions and names."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import (
    ConvlensError,
    Result,
    anatomy,
    fgsm,
    gradcam,
    maximize,
    predict,
    trace,
)
from convlens.errors import ConvlensWarning
from convlens.models import output_head as heads
from convlens.models.label_tables import read_labels
from convlens.models.labels import NEGATIVE, class_name, find_prediction
from convlens.models.output_head import SIGMOID, SOFTMAX
from support.sigmoid_networks import Mapped, images, model

# the module itself, against torch's own functions


def test_one_output_is_a_softmax_over_it_and_zero():
    column = torch.tensor([[-3.0], [-0.1], [0.2], [40.0]])
    two = torch.cat([column, torch.zeros_like(column)], dim=1)
    answered = torch.tensor([[0, NEGATIVE]]).expand(4, 2)
    torch.testing.assert_close(
        heads.prediction_probabilities(column, answered, SIGMOID), two.softmax(1)
    )
    predictions = heads.predicted_classes(column, SIGMOID)
    assert predictions.tolist() == [NEGATIVE, NEGATIVE, 0, 0]
    assert heads.top_predictions(column, SIGMOID, 5).tolist() == [
        [NEGATIVE, 0],
        [NEGATIVE, 0],
        [0, NEGATIVE],
        [0, NEGATIVE],
    ]
    assert heads.top_predictions(column, SIGMOID, 1).tolist() == [[NEGATIVE], [NEGATIVE], [0], [0]]
    for classes in (torch.zeros(4).long(), torch.full((4,), NEGATIVE), predictions):
        row = classes.clamp(max=0).abs()  # of the two columns
        expected = F.cross_entropy(two, row, reduction="none")
        torch.testing.assert_close(heads.cross_entropy(column, classes, SIGMOID), expected)
        of = torch.arange(4)
        torch.testing.assert_close(
            heads.misclassification_margin(column, classes, SIGMOID),
            two[of, 1 - row] - two[of, row],
        )


def test_several_sigmoids_are_each_by_itself():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    classes = torch.tensor([0, 3, 1, 1, 2])
    own = logits[torch.arange(5), classes]
    expected = F.binary_cross_entropy_with_logits(own, torch.ones(5), reduction="none")
    torch.testing.assert_close(heads.cross_entropy(logits, classes, SIGMOID), expected)
    torch.testing.assert_close(
        heads.log_probabilities(logits, SIGMOID), logits.double().sigmoid().log().float()
    )
    predictions, sure = heads.predict_with_probability(logits, SIGMOID)
    assert predictions.tolist() == logits.argmax(1).tolist()
    torch.testing.assert_close(sure, logits.sigmoid().amax(1))
    # The odds of one against another, where exactly one of the two is there.
    first, second = logits.sigmoid()[:, 0], logits.sigmoid()[:, 1]
    only_first, other = first * (1 - second), second * (1 - first)
    torch.testing.assert_close(
        (logits[:, 0] - logits[:, 1]).sigmoid(), only_first / (only_first + other)
    )


@pytest.mark.parametrize(
    ("final_activation", "columns", "output_head"),
    [("", 1, SIGMOID), ("", 2, SOFTMAX), (SIGMOID, 3, SIGMOID), (SOFTMAX, 1, SOFTMAX)],
)
def test_output_head_of_final_activations(final_activation, columns, output_head):
    assert heads.choose_output_head(final_activation, columns) == output_head


# the trace


@pytest.mark.parametrize(
    ("classes", "end", "final_activation"),
    [
        (1, nn.Sigmoid(), SIGMOID),
        (4, nn.Sigmoid(), SIGMOID),
        (4, nn.LogSigmoid(), SIGMOID),
        (1, lambda x: torch.sigmoid(x).squeeze(1), SIGMOID),
        (1, lambda x: torch.sigmoid(x.squeeze()), SIGMOID),
        (1, lambda x: x[:, 0].sigmoid(), SIGMOID),
        (1, lambda x: x.sigmoid().view(-1).clone(), SIGMOID),
        (1, lambda x: x.squeeze(1), ""),
        (1, lambda x: x, ""),
        (4, lambda x: x.softmax(1), SOFTMAX),
    ],
)
def test_sigmoid_and_flat_outputs_are_seen_through(classes, end, final_activation):
    network = Mapped(classes, end)
    model_trace = trace(model(network))
    assert (model_trace.final_activation, model_trace.num_outputs) == (final_activation, classes)
    assert model_trace.logits == model_trace.find_node("linear")
    for count in (1, 3):
        predictions = predict(model(network), images(count))
        torch.testing.assert_close(predictions.logits, network.logits(images(count)).detach())


@pytest.mark.parametrize("end", [nn.SiLU(), lambda x: x * x.sigmoid()])
def test_gates_are_no_end(end):
    model_trace = trace(model(Mapped(4, end)))
    assert (model_trace.final_activation, model_trace.logits) == ("", model_trace.recording.output)


def test_a_scaled_sigmoid_is_no_end_and_no_logit():
    with pytest.warns(ConvlensWarning, match="no logits"):
        model_trace = trace(model(Mapped(4, lambda x: 2 * x.sigmoid())))
    assert (model_trace.final_activation, model_trace.logits) == ("", model_trace.recording.output)


def test_anatomy_says_what_the_network_ends_in():
    result = anatomy(model(Mapped(1, nn.Sigmoid()), labels=["dog"]))
    assert (result.final_activation, result.logits) == (SIGMOID, "linear")
    assert "not dog" in result.prediction_rule
    assert "read as a logit" in anatomy(model(Mapped())).prediction_rule
    assert "by itself" in anatomy(model(Mapped(3, nn.Sigmoid()))).prediction_rule
    assert anatomy(model(Mapped(3))).prediction_rule == ""


# answers and maps


def test_one_output_answers_its_class_or_not(tmp_path):
    network = Mapped(1, nn.Sigmoid())
    batch = images(6)
    predictions = predict(model(network, labels=["dog"]), batch)
    with torch.no_grad():
        expected = network(batch)
    torch.testing.assert_close(predictions.probabilities, expected)
    assert {name[0] for name in predictions.names} == {"dog", "not dog"}
    for row, share in enumerate(expected[:, 0].tolist()):
        assert predictions.names[row] == (("dog", "not dog") if share > 0.5 else ("not dog", "dog"))
        assert predictions.confidences[row].tolist() == pytest.approx(
            sorted([share, 1 - share])[::-1]
        )
    predictions.save(tmp_path / "said")
    assert Result.load(tmp_path / "said") == predictions


def test_several_sigmoids_answer_with_their_own_outputs():
    network = Mapped(4, nn.Sigmoid())
    predictions = predict(model(network), images())
    with torch.no_grad():
        order = network(images()).sort(dim=1, descending=True)
    assert predictions.classes.tolist() == order.indices.tolist()
    torch.testing.assert_close(predictions.confidences, order.values)


def test_several_labels_of_one_output_are_refused():
    two = model(Mapped(1, nn.Sigmoid()), labels=["cat", "dog"])
    for use in (predict, gradcam, fgsm):
        with pytest.raises(ConvlensError, match="one output and 2 labels"):
            use(two, images())
    with pytest.raises(ConvlensError, match="one output and 2 labels"):
        maximize(two, ["dog"], steps=1)


# names


def test_the_two_answers_of_one_output_have_names(tmp_path):
    assert class_name(["dog, hound"], NEGATIVE) == "not dog"
    assert class_name(None, NEGATIVE) == "not class 0"
    assert [find_prediction(["dog"], text, 1) for text in ("dog", "Not Dog", 0, NEGATIVE)] == [
        0,
        -1,
        0,
        -1,
    ]
    assert find_prediction(None, "class 0", 1) == 0
    assert find_prediction(None, "not class 0", 1) == NEGATIVE
    table = tmp_path / "labels.csv"
    table.write_text("file,class\na.png,dog\nb.png,not dog\n")
    assert read_labels(table, ["dog"], 1) == {"a.png": (0,), "b.png": (NEGATIVE,)}
    table.write_text("file,class\na.png,0\nb.png,1\n")
    with pytest.raises(ConvlensError, match="it predicts 'dog' or 'not dog'"):
        read_labels(table, ["dog"], 1)
    with pytest.raises(ConvlensError, match="unknown class"):
        find_prediction(["cat", "dog"], "not dog", 2)
