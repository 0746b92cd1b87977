#!/bin/sh
# Prints the alert rules as a PrometheusRule, for the Prometheus Operator:
#   sh deploy/kubernetes/examples/prometheus-rule.sh | kubectl apply --filename -
# Add the label by which your Prometheus chooses its rules, often `release: ...`.
set -eu
cat <<END
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: session-reminders
  namespace: session-reminders
spec:
END
sed 's/^/  /' "$(dirname "$0")/../../prometheus/alerts.yml"
