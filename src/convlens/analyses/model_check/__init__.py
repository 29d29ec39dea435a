"""`check`: whether a network is intact, fed correctly, and keeps limits.

model_check.py             `check`
result.py                  its result
thresholds.py              the limits
network_findings.py        findings about weights and channels
preprocessing_findings.py  the finding about the preprocessing
label_order.py             the finding about the order of the labels
prediction_findings.py     findings about accuracy, calibration and agreement
"""
