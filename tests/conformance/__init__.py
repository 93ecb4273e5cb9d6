"""What the path and trustless gateway specs ask for, in our own words, from DAGs that the tests build;
and over the fixtures of the official suite where they are at hand."""
