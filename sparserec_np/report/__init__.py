"""The report: one self-contained page that says what a model is, how good, and why.

``_figures`` makes the numbers, ``_charts`` draws them as SVG, ``_page`` puts both in ``page.html``.
"""

from __future__ import annotations

from sparserec_np.report.figures import Figures, figures
from sparserec_np.report.page import check_installed, render

__all__ = ["Figures", "check_installed", "figures", "render"]
