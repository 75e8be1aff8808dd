"""The report: one self-contained page about a model, its quality and what it has learned.

``figures.py`` computes the numbers, ``charts.py`` draws them as SVG, and ``page.py`` puts both into
``page.html``.
"""

from __future__ import annotations

from sparserec_np.report.figures import Figures, figures
from sparserec_np.report.page import check_installed, render

__all__ = ["Figures", "check_installed", "figures", "render"]
