"""What an attack raises or lowers: loss, margin, target class and labels."""

import pytest
import torch

from convlens import ConvlensError, fgsm, wrap
from support.attacked_networks import SIZE, images, small

# margin, target, labels


def test_margin_has_a_gradient_where_the_cross_entropy_has_none():
    network = small()
    with torch.no_grad():
        network[-1].weight.mul_(1e5)
    model = wrap(network, size=SIZE)
    plain, other = (
        fgsm(model, images(), ["4/255"], loss=loss) for loss in ("cross-entropy", "margin")
    )
    assert (plain.zero_gradients > 0.9).all() and (other.zero_gradients < 0.2).all()
    assert [diagnostic.name for diagnostic in plain.diagnostics] == ["zero gradients"]
    assert "margin" in plain.diagnostics[0].remedy
    assert other.diagnostics == ()
    with torch.no_grad():
        logits = network(images())
    top = logits.topk(2).values
    torch.testing.assert_close(other.losses, top[:, 1] - top[:, 0])
    assert other.loss == "margin" and "margin" in other.formula


def test_margin_is_that_of_the_class_that_is_given():
    model = wrap(small(), size=SIZE)
    result = fgsm(model, images(), ["4/255"], classes=2, loss="margin")
    others = result.logits.clone()
    others[:, 2] = -torch.inf
    torch.testing.assert_close(result.losses, others.amax(1) - result.logits[:, 2])


def test_target_walks_the_other_way():
    model = wrap(small(), size=SIZE)
    away = fgsm(model, images(), ["8/255"], classes=3)
    towards = fgsm(model, images(), ["8/255"], target=3)
    assert torch.equal(towards.signs, -away.signs)
    assert towards.class_origins == ("target",) * 4
    assert "x - epsilon" in towards.formula and "x + epsilon" in away.formula
    before = towards.logits.softmax(1)[:, 3]
    after = towards.adversarial_logits[0].softmax(1)[:, 3]
    assert (after > before).all()
    everywhere = fgsm(model, images(), [0.9], target=3)
    assert torch.equal(everywhere.reached, everywhere.adversarial_logits.argmax(2) == 3)


def test_labels_stand_in_for_the_answer_where_they_are_known():
    model = wrap(small(), size=SIZE)
    result = fgsm(model, images(3), ["8/255"], labels=[2, None, 0])
    answer = int(result.logits[1].argmax())
    assert result.classes.tolist() == [2, answer, 0]
    assert result.class_origins == ("label", "prediction", "label")
    batch = fgsm(model, images(3), ["8/255"], classes=torch.tensor([2, answer, 0]))
    assert torch.equal(result.signs, batch.signs)


def test_before_clipping_is_the_formula_alone():
    result = fgsm(wrap(small(), size=SIZE), images(), [0.3])
    expected = result.images + 0.3 * result.signs
    torch.testing.assert_close(result.unclipped(0), expected, rtol=0, atol=1e-7)
    assert result.unclipped(0).max() > 1 and result.adversarial(0).max() <= 1
    assert torch.equal(result.unclipped(0).clamp(0, 1), result.adversarial(0))


def test_half_precision_images_never_change_by_more():
    for kind in (torch.float16, torch.bfloat16):
        batch = images().to(kind)
        result = fgsm(wrap(small(), size=SIZE), batch, ["8/255"])
        apart = (result.adversarial(0).double() - batch.double()).abs().max()
        assert apart <= 8 / 255 * (1 + 2e-6)


def test_no_epsilon_is_refused():
    model = wrap(small(), size=SIZE)
    for nothing in ([], ()):
        with pytest.raises(ConvlensError, match="at least one"):
            fgsm(model, images(), nothing)


# against foolbox


def test_foolbox_makes_the_same_images():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    network, batch = small(), images()
    result = fgsm(wrap(network, size=SIZE), batch, ["4/255"], score=False)
    theirs = foolbox.attacks.LinfFastGradientAttack()(
        foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu"), batch, result.classes,
        epsilons=[4 / 255],
    )[1][0]  # fmt: skip
    # It projects onto the ball as well, which rounds once more.
    torch.testing.assert_close(result.adversarial(0), theirs, rtol=0, atol=1.2e-7)
