"""Prediction of new recordings by trained runs: whole recordings, long ones, and live ones."""
