"""Looks at an emulated object store with its own client: object_store.py azure|s3 PORT BUCKET create|list|damage:ENDING"""

import sys

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azure:
    def __init__(self, port, bucket):
        from azure.storage.blob import ContainerClient

        account = "devstoreaccount1"
        url = f"http://127.0.0.1:{port}/{account}"
        credential = {"account_name": account, "account_key": KEY}
        self.container = ContainerClient(url, bucket, credential=credential)

    def create(self):
        self.container.create_container()

    def names(self):
        return [blob.name for blob in self.container.list_blobs()]

    def get(self, name):
        return self.container.download_blob(name).readall()

    def put(self, name, data):
        self.container.upload_blob(name, data, overwrite=True)


class S3:
    def __init__(self, port, bucket):
        import boto3

        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="test",
            aws_secret_access_key="test-secret",
            region_name="eu-central-1",
        )
        self.bucket = bucket

    def create(self):
        where = {"LocationConstraint": "eu-central-1"}
        self.client.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=where)

    def names(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def get(self, name):
        return self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()

    def put(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)


def main():
    kind, port, bucket, act = sys.argv[1:]
    store = {"azure": Azure, "s3": S3}[kind](port, bucket)
    if act == "create":
        store.create()
    elif act == "list":
        print("\n".join(sorted(store.names())))
    else:
        ending = act.removeprefix("damage:")
        name = next(name for name in sorted(store.names()) if name.endswith(ending))
        data = bytearray(store.get(name))
        data[len(data) // 2] ^= 1
        store.put(name, bytes(data))


main()
