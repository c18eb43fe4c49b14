"""One component: inputs -> sandbox -> normalised outputs and a build record; again, varied, and compared."""
