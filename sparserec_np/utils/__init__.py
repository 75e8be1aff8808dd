"""Tools that know nothing of recommending: files, logs, sizes, threads, communication."""
