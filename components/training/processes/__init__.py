"""How the processes of a training are started on one machine or several, asked to stop, and made to die in a test."""
