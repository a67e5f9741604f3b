"""Files of saved models: estimators, manifest, and the checks that loading makes."""
