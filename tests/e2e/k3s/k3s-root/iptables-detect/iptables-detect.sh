#!/bin/sh
# stands for the script that finds out which kind of iptables the host uses
exec xtables-nft-multi iptables "$@"
