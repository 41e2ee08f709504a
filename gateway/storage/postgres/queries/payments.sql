-- Decisions, found again.

-- name: find_attempt
SELECT * FROM payments WHERE attempt_id = :attempt_id AND terminal_id = :terminal_id

-- name: find_payment
SELECT p.* FROM payments AS p
WHERE p.payment_id = :payment_id
    AND p.merchant_id = (SELECT merchant_id FROM terminals WHERE terminal_id = :terminal_id)

-- name: list_attempts
SELECT p.*
FROM unnest(:attempt_ids::text[], :terminal_ids::text[]) AS keys (attempt_id, terminal_id)
    CROSS JOIN LATERAL (
        SELECT * FROM payments AS x
        WHERE x.attempt_id = keys.attempt_id AND x.terminal_id = keys.terminal_id OFFSET 0
    ) AS p

-- name: payment_facts
SELECT * FROM payment_facts(
    :attempt_ids, :terminal_ids, :instrument_ids, :order_ids, :merchant_ids, :days, :fee_account_ids,
    :token_key_ids, :token_counters, :terminal_nonces, :code_hashes, :now_ms
)

-- name: book_batch
SELECT * FROM book_batch(
    :group_purposes, :group_booked_ms, :group_leg_counts, :group_bodies, :leg_group_indexes, :leg_indexes,
    :leg_ids, :leg_kinds, :leg_debit_ids, :leg_credit_ids, :leg_amounts, :leg_currencies, :leg_pending_ids,
    :leg_expiries_ms, :account_ids, :account_currencies, :account_debits_pending, :account_debits_posted,
    :account_credits_pending, :account_credits_posted, :account_needed, :account_needs_unfrozen,
    :counter_max, :ended_ids, :ended_states, :ended_now_ms, :ended_are_over, :active_terminal_ids,
    :token_key_ids, :token_counters, :token_digests, :token_terminal_ids, :token_nonces, :token_payment_ids,
    :code_hashes, :code_payment_ids, :code_now_ms, :card_instrument_ids, :card_firsts, :card_lasts,
    :suspended_key_ids, :order_ids, :order_merchant_ids, :order_amounts, :order_approved, :day_numbers,
    :day_instrument_ids, :day_amounts, :day_largest, :day_weakest_modes, :receipt_merchant_ids,
    :receipt_news, :payment_ids, :payment_attempt_ids, :payment_digests, :payment_terminal_ids,
    :payment_merchant_ids, :payment_order_ids, :payment_decline_codes, :payment_amounts,
    :payment_currencies, :payment_entry_modes, :payment_instrument_ids, :payment_labels,
    :payment_merchant_names, :payment_location_names, :payment_receipt_places, :payment_receipt_indexes,
    :payment_group_indexes, :payment_presented_ms, :payment_exchanges_ms, :payment_decided_ms
)
