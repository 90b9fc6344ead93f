"""The notebooks headlessly: what to run (``profiles``), whether it can (``plan``), and running it (``runner``)."""
