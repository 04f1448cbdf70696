"""The report on clustered patches: figures, tables, a page and files for TensorBoard, in one folder."""

from pathlib import Path

from dr_keras import files
from dr_keras.papers.alexnet import patch_clusters, patch_explorer
from dr_keras.papers.alexnet import patch_figures as figures
from dr_keras.report.figures import style

_CURVE = (2, 3, 5, 8, 10, 15, 20, 25, 30, 40)  # values of k for the silhouette curve


def write_clusters(output_dir, table, grader, layer="pool5", k=20, seed=0):
    """Clusters patches and writes figures, tables, the page and the projector's files.

    Args:
        output_dir: folder.
        table: `PatchTable`.
        grader: whose features are clustered.
        layer: that they are from.
        k: of k-means, at most one for each patch.
        seed: seed of k-means, t-SNE and the permutations.

    Returns:
        dict, as written to `clusters.json`: of `stages_over_clusters`, with `k` and `silhouettes`.
    """
    output_dir, small = Path(output_dir), figures.thumbnails(table.pictures)
    features = patch_clusters.deep_features(grader, table.pictures, layer)
    clusters = patch_clusters.cluster(features, k, seed)
    places = patch_clusters.lay_out(features, seed)
    curve = patch_clusters.silhouettes(features, sorted({*_CURVE, k}), seed)
    found = patch_clusters.stages_over_clusters(clusters, table.labels, table.images, seed)
    found["k"] = len(found["counts"])
    found["silhouettes"] = [{"k": number, "silhouette": value} for number, value in curve.items()]
    style.write_png(
        output_dir / "clusters.png",
        figures.clusters_figure(places, clusters, table.labels, table.drops, small),
    )
    style.write_png(output_dir / "stages.png", figures.stages_figure(found["counts"]))
    style.write_png(output_dir / "silhouette.png", figures.silhouette_figure(curve, found["k"]))
    patch_clusters.write_table(output_dir / "clusters.csv", table, clusters, places)
    patch_explorer.write_page(output_dir / "patches.html", table, clusters, places, small)
    patch_explorer.write_projector(output_dir / "projector", table, clusters, features, small)
    files.write_json(output_dir / "clusters.json", found)
    return found
