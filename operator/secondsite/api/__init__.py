"""The Kubernetes API of Secondsite: types only, one module per kind; crd.py turns them into crds/."""
