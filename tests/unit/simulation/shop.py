"""The example tenant that most facts about packets are told with.

    web  10.0.1.0/24, fd00:1::/64   web-1 .11   web-2 .12   bare .13 (no groups)   open .14 (no security)
    db   10.0.2.0/24, fd00:2::/64   db-1 .21
    edge, the router between them, has .1 of each

MACs end as the addresses do: web-1 is 02:00:00:00:01:11, the router on web 02:00:00:00:01:01.
"""

SHOP = """
stack: shop
project: demo
networks:
  web:
    subnets: {v4: {cidr: 10.0.1.0/24}, v6: {cidr: "fd00:1::/64"}}
    ports:
      web-1:
        mac: 02:00:00:00:01:11
        addresses: [{ip: 10.0.1.11}, {ip: "fd00:1::11"}]
        security_groups: [web]
      web-2:
        mac: 02:00:00:00:01:12
        addresses: [{ip: 10.0.1.12}, {ip: "fd00:1::12"}]
        security_groups: [web]
      bare:
        mac: 02:00:00:00:01:13
        addresses: [{ip: 10.0.1.13}, {ip: "fd00:1::13"}]
      open:
        mac: 02:00:00:00:01:14
        addresses: [{ip: 10.0.1.14}, {ip: "fd00:1::14"}]
        port_security: false
      edge: {kind: router, mac: 02:00:00:00:01:ff}
  db:
    subnets: {v4: {cidr: 10.0.2.0/24}, v6: {cidr: "fd00:2::/64"}}
    ports:
      db-1:
        mac: 02:00:00:00:02:21
        addresses: [{ip: 10.0.2.21}, {ip: "fd00:2::21"}]
        security_groups: [db]
      edge: {kind: router, mac: 02:00:00:00:02:ff}
security_groups:
  web:
    rules:
      http: {direction: ingress, protocol: tcp, ports: "80"}
      ping: {direction: ingress, protocol: icmp, icmp_type: 8}
      ping6: {direction: ingress, protocol: icmpv6, icmp_type: 128}
  db:
    rules:
      sql: {direction: ingress, protocol: tcp, ports: "5432", remote_group: web}
      dns: {direction: ingress, protocol: udp, ports: "53"}
routers:
  edge:
    ports:
      web:
        mac: 02:00:00:00:01:01
        addresses: [{subnet: web/v4, ip: 10.0.1.1}, {subnet: web/v6, ip: "fd00:1::1"}]
      db:
        mac: 02:00:00:00:02:01
        addresses: [{subnet: db/v4, ip: 10.0.2.1}, {subnet: db/v6, ip: "fd00:2::1"}]
links:
  edge-web: {a: edge/web, b: web/edge}
  edge-db: {a: edge/db, b: db/edge}
"""
