"""Downloads of a body to a file: `download` receives, resumes and checks it, `targets` and `writer` write."""
