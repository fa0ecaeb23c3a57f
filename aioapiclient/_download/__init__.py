"""Downloads of a body to a file: `download` receives, resumes and checks it, `targets` writes it."""
