"""Downloads: a body into a file. `download` receives, resumes and checks it, `targets` says where it goes."""
