"""Where each artifact lives; how one is published as a whole, and verified when it is read."""
