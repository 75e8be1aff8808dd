"""``SparseRec`` as a model of other libraries, for comparisons in their harnesses.

Each module needs the library that it is named after, and is imported explicitly:
``from sparserec_np.adapters.cornac import SparseRecRecommender`` (extra ``[cornac]``) and
``from sparserec_np.adapters.rectools import SparseRecModel`` (extra ``[rectools]``).
"""
