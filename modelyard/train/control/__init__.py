"""The control process of a training job: members, formations, the fence in etcd, the store."""
