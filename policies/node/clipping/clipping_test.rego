package sytff.node_test

test_clipping_denies_none if denied({"request": {"clipping": null}}) == {"node.clipping"}

test_clipping_denies_another_kind if denied({"request": {"clipping": {"kind": "none"}}}) == {"node.clipping"}

test_clipping_accepts_fixed if denied({"request": {"clipping": {"kind": "fixed"}}}) == set()

test_clipping_accepts_adaptive if denied({"request": {"clipping": {"kind": "adaptive"}}}) == set()
