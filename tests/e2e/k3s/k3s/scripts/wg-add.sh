#!/bin/sh
echo "wg-add of the stand-in"
