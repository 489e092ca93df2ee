"""The search for hyperparameters, apart from the trials that are compared."""
