"""The former place of :mod:`sparserec_np.data`: what programs import from here is still found."""

from sparserec_np.data import *  # noqa: F403
