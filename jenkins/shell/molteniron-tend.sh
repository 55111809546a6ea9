#!/bin/sh -e
# Takes back what is due: nodes of builds that died with their agent or their controller, and what clients
# that died had asked for. Several controllers may do so at once.
exec moltenironctl tend
