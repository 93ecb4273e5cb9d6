"""UnixFS: files, directories and symlinks as DAGs of dag-pb and raw blocks."""
