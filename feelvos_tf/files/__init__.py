"""How do files and folders survive kills, full disks and power failures? Below every other room."""
