"""The compiled inner loops of training; arrays in, arrays changed in place."""
