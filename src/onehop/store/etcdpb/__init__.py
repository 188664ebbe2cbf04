"""etcd's protocol, generated: see rpc.proto and tools/generate-etcdpb."""
