"""Side-by-side measurement of this server and its peers; see ``bench/README.md``. Not part of the distribution."""
