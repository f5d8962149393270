"""A call as the clients of May 2019 sign it, right and wrong, with the standard library.

Usage: v1_signed.py URL ACCESS_KEY SECRET_KEY PATH NAME=VALUE…
"""

import hashlib
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

url, access_key, secret_key, path, *pairs = sys.argv[1:]


def call(secret):
    params = dict(pair.split("=", 1) for pair in pairs)
    params["requestTimestamp"] = str(int(time.time() * 1000))
    text = access_key + "".join(name + params[name] for name in sorted(params)) + secret
    params["accessKey"] = access_key
    params["sign"] = hashlib.sha1(text.encode()).hexdigest().upper()
    try:
        return json.load(urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(params)}"))
    except urllib.error.HTTPError as error:
        return {"status": error.code}


print(json.dumps([call(secret_key), call(secret_key + "x")]))
