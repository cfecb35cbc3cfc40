"""What a researcher imports: domains, datasets and `tff.train_model`. Starts without TensorFlow."""

from sytff_policy.client.domain import AssetHandle, DatasetHandle, Domain, open_domain

__all__ = ["AssetHandle", "DatasetHandle", "Domain", "open_domain"]
