"""How to read the pictures of an error analysis, by the name of the picture."""

HOW_TO_READ = {
    "reliability diagrams": (
        "Each dot is the accuracy of the predictions in one bin of confidence, with its 95 % "
        "interval; the thick line is its distance from the diagonal, on which accuracy equals "
        "confidence. The number of photos in each bin is below it. On the left the bins divide "
        "the confidence evenly, on the right the photos. A calibrated network on so few photos "
        "does not lie on the diagonal either; the summary states what it would show."
    ),
    "most frequent confusions": (
        "Photos of one class that are predicted as another one, the surest first. The number is "
        "how many of all photos of the class are predicted so."
    ),
    "surest errors": (
        "The photo; Grad-CAM of the right minus the predicted class, red where the image supports "
        "the label and blue where it supports the prediction, on a scale of its own; the photos of "
        "both classes that are most similar in the last layer; and the patches that most activate "
        "the channel that contributes most to the prediction. Similar photos of the predicted "
        "class that look like this one are a sign of a wrong label, and patches that show a "
        "background are a sign that the background is used."
    ),
    "labels that may be wrong": (
        "Errors of which the network is at least as sure as it is on average for photos of the "
        "predicted class (Northcutt et al. 2021). Some of them are errors of the network: look at "
        "each photo before a label is changed."
    ),
}
