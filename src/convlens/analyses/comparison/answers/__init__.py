"""The answers that differ between two networks.

answers.py            `compare_answers`
result.py             its result: the answers that differ, and how many right ones
answer_work.py        the pass that counts them
class_pairing.py      the classes of both networks, paired by name or index
paired_difference.py  right answers lost and gained, with McNemar's test
"""
