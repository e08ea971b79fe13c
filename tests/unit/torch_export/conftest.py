from tests.unit.registry.conftest import classifier, classifier_bytes

__all__ = ["classifier", "classifier_bytes"]
