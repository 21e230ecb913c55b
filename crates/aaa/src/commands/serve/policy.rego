# development
# Look everywhere, and disable Puppet in one country at a time.
package io.choria.aaasvc

default allow = false

allow { input.agent == "rpcutil" }
allow { input.agent == "puppet"; input.action == "status" }
allow { input.agent == "puppet"; input.action == "enable" }
allow { input.agent == "puppet"; input.action == "disable"; requires_fact_filter("country=mt") }
