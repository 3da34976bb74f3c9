"""The brain served over HTTP: keys and limits, metrics, logs."""
