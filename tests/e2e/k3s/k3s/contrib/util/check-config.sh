#!/bin/sh
echo "check-config of the stand-in"
