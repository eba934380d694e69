"""What an ELF program is made of: can it be wrapped, what does it load, where are its `syscall` instructions."""
