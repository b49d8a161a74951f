"""Corruptions of test sequences, one module for each family, and the filling of missing joints."""
