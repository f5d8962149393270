"""TSBS' cpu-only and iot workloads on Wattline and its peers: rows, questions, engines, answers, figures."""
