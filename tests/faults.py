"""What was done to runs, and what happened: the rows of docs/reliability.md, each with the test that does it."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault, what okdbench does about it, and ``test``, "FILE::FUNCTION" below tests/.

    ``times`` counts its cases and examples.
    """

    what: str
    happened: str
    test: str
    times: int = 1


FUZZED = 2000
"""Examples of each test of tests/test_fuzz.py."""
KILLED, RACES = "end_to_end/test_kills.py", "end_to_end/test_racing.py"
DAMAGE, LIFE, FILES = "training/test_damage.py", "end_to_end/test_surroundings.py", "cli/test_places.py"
FAULTS = (
    Fault("Ctrl-C during a training", "a checkpoint; the same command continues; status 130",
          "cli/test_process.py::test_ctrl_c_writes_a_checkpoint_and_says_how_to_continue"),
    Fault("Ctrl-C twice at once", "the workers end without a checkpoint",
          "engines/test_local.py::test_a_second_interrupt_kills"),
    Fault("the terminal is closed", "a checkpoint, no message; status 130",
          "cli/test_process.py::test_a_terminal_that_is_closed_stops_the_runs_quietly"),
    Fault("SIGKILL of everything at random moments, during `--force` and when a stale lease is taken over, too",
          "the same command ends with the same bits", f"{KILLED}::test_killed_runs_end_with_the_same_bits", 10),
    Fault("SIGKILL before a change to a file of a run: record, weights, checkpoint, lease, a folder moved away",
          "the same command ends with the same bits", f"{KILLED}::test_killed_runs_end_with_the_same_bits", 10),
    Fault("SIGKILL of `status` and `report` while they keep what they have read",
          "the same report, and no half-written file stays",
          f"{KILLED}::test_reports_killed_while_they_keep_what_they_have_read", 10),
    Fault("SIGKILL of the command alone, `run` and `run --force`", "its worker goes on; the same command waits for it",
          f"{RACES}::test_a_command_is_killed_and_its_worker_goes_on", 2),
    Fault("SIGKILL of the command and its worker while a second command waits",
          "the second one goes on from the checkpoint to the same bits",
          f"{RACES}::test_one_is_killed_and_the_other_takes_its_runs_over"),
    Fault("two machines train into one NFS folder; the server is killed and comes back, one machine loses its power",
          "the other machine ends all runs with the same bits, each trained once but for the one that was interrupted",
          "services/test_nfs.py::test_a_machine_and_the_server_fail_and_each_run_ends_as_without"),
    Fault("a disk or a file server that fails (EIO)", "a line; status 2; no closed terminal is suspected",
          "cli/test_process.py::test_a_disk_that_fails_is_no_closed_terminal"),
    Fault("four `run --force` at once", "all end well; no run is trained twice at once",
          f"{RACES}::test_four_that_train_again_at_once"),
    Fault("a network that waits for ever, in one process and in one of two",
          "after `--stall-timeout` the worker ends; the stacks are in the log",
          "runs/test_stall.py::test_the_stacks_are_in_the_log", 2),
    Fault("a call that waits for ever and lets no other thread of Python run", "the same, half a minute later",
          "runs/test_stall.py::test_a_call_that_keeps_the_interpreters_lock_ends_too"),
    Fault("a start and an evaluation that take longer than `--stall-timeout`", "the run finishes",
          "runs/test_stall.py::test_a_start_and_an_evaluation_that_take_long_count_as_progress"),
    Fault("a second `--processes 2` on a run that two processes train, one of which dies",
          "the second is told that the run is busy; the death is the reason of the failure",
          "runs/test_launch.py::test_a_process_that_dies_ends_all_and_the_reason_is_told"),
    Fault("a folder, a pipe or a link in place of a lease", "passed over at once",
          "runs/test_lease.py::test_what_is_no_file_is_nobodys_lease", 3),
    Fault("a newest checkpoint that is torn, empty, flipped, or of another run, network or program",
          "the older checkpoint, and a line; the same bits",
          f"{DAMAGE}::test_the_older_checkpoint_is_used_and_a_line_says_so", 8),
    Fault("one flipped bit in a checkpoint", "not used, unless the bit means nothing",
          f"{DAMAGE}::test_no_flipped_bit_is_accepted_unless_it_changes_nothing", 200),
    Fault("both checkpoints damaged", "training starts again, and a line says so",
          f"{DAMAGE}::test_with_both_damaged_training_starts_again_and_says_so"),
    Fault("other bytes in a checkpoint", "not used, or the same tensors", "test_fuzz.py::test_checkpoints", FUZZED),
    Fault("metrics emptied, torn, zeroed or deleted before a run continues", "written again from the checkpoint",
          f"{DAMAGE}::test_metrics_are_repaired_from_the_checkpoint", 4),
    Fault("metrics cut off while the run trains", "whole at its end",
          f"{DAMAGE}::test_metrics_that_are_cut_while_the_run_trains_are_whole_at_its_end"),
    Fault("metrics of another seed in a run's folder", "the run is `damaged`, and named with the remedy",
          f"{DAMAGE}::test_metrics_of_another_run_are_not_this_ones"),
    Fault("an accuracy of NaN, 999, \"x\", null or another type", "the line is named",
          f"{DAMAGE}::test_an_accuracy_is_a_percentage", 9),
    Fault("other values or bytes in a record", "the run is `damaged`, and named; the others are shown",
          "test_fuzz.py::test_records", FUZZED),
    Fault("other values or bytes in metrics, configuration, progress or failure", "the same",
          "test_fuzz.py::test_metrics_and_other_files", FUZZED),
    Fault("weights zeroed, or with flipped bits", "not those of the record: a teacher is trained again",
          f"{DAMAGE}::test_weights_are_compared_with_the_hash_in_the_record", 2),
    Fault("the run's folder moved or deleted while it trains", "the run fails, and nothing is made again",
          f"{DAMAGE}::test_a_folder_that_goes_away_while_its_run_trains_is_not_made_anew", 2),
    Fault("half-written files of killed workers", "removed at the start and at the end",
          f"{DAMAGE}::test_what_killed_workers_were_writing_is_removed"),
    Fault("fewer or more workers when a run continues", "as many threads as at first, so the same bits",
          f"{DAMAGE}::test_threads_are_those_of_the_first_attempt"),
    Fault("an image that cannot be read, found at the first evaluation", "the epoch is in a checkpoint",
          f"{DAMAGE}::test_a_checkpoint_is_written_before_the_first_evaluation"),
    Fault("the disk is full (a small tmpfs)", "the file is named; with room, the same command ends with the same bits",
          f"{LIFE}::test_a_full_disk_is_named_nothing_is_lost_and_the_run_continues"),
    Fault("the disk is mounted read-only", "status and report work; run names it in one line",
          f"{LIFE}::test_a_read_only_disk_can_be_read_and_is_named_when_written"),
    Fault("a cluster's RANK and MASTER_ADDR, one's own random.py here, FORCE_COLOR", "nothing changes",
          f"{LIFE}::test_a_clusters_variables_other_files_and_forced_colours_change_nothing"),
    Fault("symbolic links planted in a run's folder", "never written through",
          f"{FILES}::test_no_link_in_a_runs_folder_is_written_through", 6),
    Fault("a folder in place of a file of a run", "named; no traceback",
          f"{FILES}::test_a_folder_in_place_of_a_file_is_no_traceback", 8),
    Fault("`-o` to a link, a pipe or a device", "written through; never replaced",
          f"{FILES}::test_what_is_no_file_is_written_to_and_not_replaced"),
    Fault("standard output or error closed or full", "one line, or none where it has no place",
          f"{FILES}::test_outputs_that_take_nothing", 6),
    Fault("an output in ASCII or another narrow encoding", "other characters are replaced; files are UTF-8",
          f"{FILES}::test_narrow_outputs_replace_what_they_lack", 3),
    Fault("escape sequences and marks of direction in titles, names, devices, reasons", "shown as text everywhere",
          "cli/test_shown_texts.py::test_no_format_passes_hidden_characters_on", 12),
    Fault("other values in a recipe", "a line for each", "test_fuzz.py::test_recipes_with_other_values", FUZZED),
    Fault("other bytes in a recipe", "one line", "test_fuzz.py::test_recipes_with_other_bytes", FUZZED),
    Fault("other signs in the value of `--set`", "one line", "test_fuzz.py::test_values_of_options", FUZZED),
    Fault("truncated, empty and huge images, text and other formats under the name of an image, pipes",
          "`data verify` names each", "data/test_files_of_others.py::test_every_damaged_file_is_found", 6),
    Fault("hidden and other files beside images", "ignored",
          "data/test_files_of_others.py::test_other_files_beside_images_are_no_images", 7),
    Fault("an archive with a member that unpacks to 128 MB", "not unpacked",
          "data/test_files_of_others.py::test_a_huge_member_of_an_archive_is_not_unpacked"),
)  # fmt: skip
