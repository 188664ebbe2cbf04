"""What schemathesis generates for the model's text formats: mostly values that are right.

Loaded by the command line of schemathesis (SCHEMATHESIS_HOOKS).
"""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

ADDRESSES = ["10.0.0.5", "10.0.0.9", "10.0.1.7", "192.0.2.1", "fd00:1::5", "2001:db8::1", "10.0.0.300"]
PREFIXES = ["10.0.0.0/24", "10.0.1.0/28", "0.0.0.0/0", "fd00:1::/64", "::/0", "10.0.0.1/32", "10.0.0.1/8"]
FORMATS = {
    "name": st.sampled_from(["a", "web", "db", "edge"]) | st.from_regex(r"\A[a-z0-9-]{1,20}\Z"),
    "ip": st.sampled_from(ADDRESSES) | st.ip_addresses().map(str),
    "cidr": st.sampled_from(PREFIXES),
    "mac": st.sampled_from(["02:00:00:00:00:01", "02-00-00-00-00-02", "ff:ff:ff:ff:ff:ff", "02:00"]),
    "mac-mask": st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:00/ff:ff:00:00:00:00"]),
    "ports": st.sampled_from(["80", "8000-8099", "0-65535", "9-1"]),
    "protocol": st.sampled_from(["tcp", "UDP", "icmpv6", "47", "256"]),
    "interface": st.sampled_from(["tap0", "eth1", "a b"]),
    "date-time": st.sampled_from(["2099-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00", "now"]),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)
