"""Clusters abnormal patches by a model's features, and draws the clusters (P1 section 3.3, figure 10).

  python scripts/cluster_patches.py --model=RUN --patches=FOLDER --output_dir=clusters

FOLDER is the output of segment_patches.py. Writes clusters.png (figure 10), stages.png, silhouette.png,
clusters.csv, clusters.json, patches.html (point at a patch to see it; works offline) and a folder for
TensorBoard's projector. Research use only.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag(required=True)
cli_flags.define_output_dir("figures, tables, patches.html, projector")
cli_flags.define_seed()
flags.DEFINE_string("patches", None, "Folder of segment_patches.py.", required=True)
flags.DEFINE_integer("fold", 0, "Of a run with folds, the one whose network is used.", lower_bound=0)
flags.DEFINE_string("layer", "pool5", "Layer whose output is clustered.")
flags.DEFINE_integer("clusters", 20, "Number of clusters, the k of k-means.", lower_bound=2)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    path = run_folder.find_model(FLAGS.model, FLAGS.fold)
    run_folder.check_report_dir(FLAGS.output_dir)
    cli_flags.require_tensorflow()
    from dr_keras.models.grader_model import load_model
    from dr_keras.papers.alexnet import patch_clusters, patch_report

    table = patch_clusters.read_patches(FLAGS.patches)
    found = patch_report.write_clusters(
        FLAGS.output_dir, table, load_model(path), FLAGS.layer, FLAGS.clusters, FLAGS.seed
    )
    print(
        f"{FLAGS.output_dir}/patches.html: {len(table.images)} patches in {len(found['counts'])} clusters; "
        f"stages over clusters: Cramer's V {found['cramers_v']:.2f}, "
        f"p {found['p_value_by_photograph']:.3f} by photograph"
    )


if __name__ == "__main__":
    cli_flags.run(main)
