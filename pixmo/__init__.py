"""pixmo: build a vision-language data set the way PixMo was built, and train Molmo on it."""

__version__ = "0.1.0"
