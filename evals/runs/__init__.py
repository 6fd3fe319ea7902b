"""One evaluation: ask the model, keep the answers, have them judged, count."""
