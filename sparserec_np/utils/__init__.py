"""General tools: atomic writes, logging, sizes, threads, row arithmetic, communication."""
