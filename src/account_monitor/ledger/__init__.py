"""What is true? A pure function of journaled events: standard library only, no clock, no I/O, no float."""
